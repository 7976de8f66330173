//! API and files over real sockets, as the HTTP ports serve them.

#[cfg(test)]
mod conversations;
#[cfg(test)]
mod ports;
