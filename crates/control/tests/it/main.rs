//! API, files and callbacks over real sockets.

#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod conversations;
#[cfg(test)]
mod forwards;
#[cfg(test)]
mod heartbeats;
#[cfg(test)]
mod ports;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod web;
