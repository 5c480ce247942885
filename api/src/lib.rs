//! datestone.
