//! Bodies taken apart: forms, multipart, JSON, XML.
