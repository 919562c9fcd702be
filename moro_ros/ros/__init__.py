"""ROS 2 nodes and everything that knows a ROS type."""
