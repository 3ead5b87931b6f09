"""What is said of 1x1 convolutions, put to the test."""
