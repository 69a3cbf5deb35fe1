"""The functions of the section modules, for speed: what each computes is said by its plain form.

Memory is read once instead of once per operation, work goes to threads, and arithmetic is as narrow
as the answer allows. The answers are those of the plain forms.
"""
