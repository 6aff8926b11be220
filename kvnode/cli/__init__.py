"""Commands of the command line beside `kvnode serve`."""
