"""People after REP-155: the topics, frames and kinematic model that ROS4HRI tools expect."""
