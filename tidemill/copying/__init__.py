"""A copy of a billing database in a store of our own, kept up with what changes there.

The copy is of the relations, row by row as the connector gives them. So whatever derives from them
gives what it gives in place, and facts can be kept of it.
"""
