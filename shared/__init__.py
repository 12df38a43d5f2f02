"""What every service may import: the words, the tables, the messages and the doors to the outside."""
