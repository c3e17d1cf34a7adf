"""Images: the pixel convention, reading, cropping, drawing."""
