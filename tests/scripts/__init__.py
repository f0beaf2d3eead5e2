"""What people run: longer checks, measurements, files made anew."""
