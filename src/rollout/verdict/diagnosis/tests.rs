//! What is final, what may pass, and what is counted.
