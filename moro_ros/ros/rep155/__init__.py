"""People according to REP-155: the topics, frames and kinematic model of ROS4HRI."""
