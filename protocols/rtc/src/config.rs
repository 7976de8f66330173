//! The section of the configuration: fields, defaults, checks.
