//! What the owner of a router sees of the running program, theme by theme.
//!
//! Each test starts a broker of its own and talks to it over sockets. Statements of the specification are in
//! `conformance`, attackers in `hostile`.

mod acl;
mod admin;
mod alias;
mod auth;
mod check;
mod connect;
mod control;
mod crowd;
mod dump;
mod handed;
mod keepalive;
mod keeper;
mod large;
mod limits;
mod listeners;
mod make_run;
mod monitor;
mod mount_point;
mod passwd;
mod publish;
mod reload;
mod request;
mod retained;
mod robust;
mod rpcd;
mod scram;
mod session;
mod share;
mod slow;
mod stop;
mod subscribe;
mod sys;
mod takeover;
mod talk;
mod tls;
mod uci_faults;
mod websocket;
mod will;
