/** Every op, one line each: the table of contents of the autograd. */
