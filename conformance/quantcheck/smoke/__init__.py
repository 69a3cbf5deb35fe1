"""`quantcheck smoke TARGET`: does a target speak the protocol?"""
