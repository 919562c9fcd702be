"""ROS 2 nodes and everything that uses a ROS type."""
