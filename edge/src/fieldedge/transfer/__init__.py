"""What goes over the link or a USB stick: batches out, acknowledgements and releases in."""
