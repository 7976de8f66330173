//! Each occurrence once: its log line and its metric.
