"""A step is not run again while nothing that it really read has changed: what it read is traced, kept and compared.

`trace` notes in the kernel what is read, `observed` makes sense of the notes, `records` keeps results with the lake,
and `reuse` decides. It is a verifying trace, as in the build systems Shake and Bazel (Mokhov, Mitchell and Peyton
Jones, Build Systems à la Carte, 2018, section 4.2.2).
"""
