"""Line-API widgets shared by all screens; nothing else draws live data."""
