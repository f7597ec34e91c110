//! The ordered end, and the start: how long they take, and that nobody is refused meanwhile.
