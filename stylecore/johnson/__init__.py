"""The transformation networks of Johnson, Alahi and Fei-Fei (2016), and the file that holds a trained one."""
