//! In place of a ring where there is none: it cannot be made.

use std::marker::PhantomData;

use crate::{Datagram, Sent, Unsupported};

#[cfg(unix)]
type Socket<'a> = std::os::fd::BorrowedFd<'a>;
#[cfg(windows)]
type Socket<'a> = std::os::windows::io::BorrowedSocket<'a>;

/// A ring that does not exist.
#[derive(Debug)]
pub enum Ring {}

impl Ring {
    /// Fails.
    ///
    /// # Errors
    /// Always [`Unsupported::Platform`].
    pub fn new(_entries: u32) -> Result<Self, Unsupported> {
        Err(Unsupported::Platform)
    }

    /// How it was set up.
    pub fn mode(&self) -> &'static str {
        match *self {}
    }

    /// Why it gave up.
    pub fn fault(&self) -> Option<&std::io::Error> {
        match *self {}
    }

    /// Begins a batch.
    pub fn batch(&mut self) -> Batch<'_> {
        match *self {}
    }
}

/// A batch of a ring that does not exist.
#[derive(Debug)]
pub struct Batch<'a> {
    ring: Ring,
    borrowed: PhantomData<&'a [u8]>,
}

impl<'a> Batch<'a> {
    /// Adds a send.
    pub fn push(&mut self, _socket: Socket<'a>, _bytes: &'a [u8]) -> bool {
        match self.ring {}
    }

    /// Sends.
    pub fn send(self) -> &'a [Sent] {
        match self.ring {}
    }
}

/// Takes nothing: whoever has datagrams sends them one by one.
#[derive(Debug)]
pub struct Datagrams;

impl Datagrams {
    /// For any number.
    pub fn new(_most: usize, _ring: Option<Ring>) -> Self {
        Self
    }

    /// Begins a batch that stays empty.
    pub fn batch(&mut self) -> DatagramBatch<'_> {
        DatagramBatch { borrowed: PhantomData }
    }
}

/// A batch that takes nothing.
#[derive(Debug)]
pub struct DatagramBatch<'a> {
    borrowed: PhantomData<&'a [u8]>,
}

impl<'a> DatagramBatch<'a> {
    /// Does not take it.
    pub fn push(&mut self, _socket: Socket<'a>, _datagram: Datagram<'a>) -> bool {
        false
    }

    /// Sends nothing.
    pub fn send(self) -> &'a [Sent] {
        &[]
    }
}
