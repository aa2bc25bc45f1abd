//! The endpoint that stands for AWS.
