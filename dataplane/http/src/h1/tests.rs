//! Messages in, what they mean out.
mod body;
mod encode;
mod request;
mod response;
