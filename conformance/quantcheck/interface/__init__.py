"""The documented interface, crossed: what covers each part of it, or why nothing does.

A *row* is an argument of a class or function, a kind of value that it takes, and an operation that
it reaches. A *cell* is a row with a dtype policy, a kind of layer, and a use of the result. Every
cell has one of three outcomes: golden cases cover it, or properties do, or a reason says why none
does.
"""
