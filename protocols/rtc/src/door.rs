//! The HTTP side: WHIP, WHEP and the calls of SRS.
