//! Rule sets of the node, from files to what requests meet.
