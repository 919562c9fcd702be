"""The default front-end: BlazePose keypoints and a causal multi-person tracker."""
