//! Pair tests, loopback tests and fixtures of rtc.
