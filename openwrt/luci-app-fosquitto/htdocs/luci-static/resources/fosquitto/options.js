'use strict';
'require baseclass';

/* The sections and options that the daemon knows: their kinds, bounds and defaults, and what they do. It is made from the daemon's own
   table by the test that compares the two, so an edit here is lost. How a value is checked stands in values.js. */

return baseclass.extend({
	sections: {
		'global': {
			name: 'global',
			doc: _('What holds for the whole bus.'),
			options: {
				'debug': {
					kind: 'bool', default: '0',
					doc: _('Log everything, whatever `log_level` says.')
				},
				'log_level': {
					kind: 'word', words: [ 'error', 'warning', 'notice', 'info', 'debug' ], default: 'notice',
					doc: _('Log this and what is worse.')
				},
				'memory_limit': {
					kind: 'size', min: 1048576, max: 2147483648, absent: _('a quarter of the RAM, 8M to 1G'),
					doc: _('The ceiling of what all clients\' data may take together: messages, sessions, subscriptions, connections. The last eighth is for the clients of `local`; where state is kept, a sixth of all, 3M at most, is for that.')
				},
				'max_packet_size': {
					kind: 'size', min: 1024, max: 268435456, default: '16M',
					doc: _('The largest packet that is accepted; never more than a quarter of `memory_limit`.')
				},
				'max_inflight': {
					kind: 'count', min: 1, max: 65535, default: '20',
					doc: _('So many messages with QoS 1 or 2 are on the way to one client at once.')
				},
				'queue_messages': {
					kind: 'count', min: 1, max: 1000000, default: '1000',
					doc: _('So many messages wait for one client.')
				},
				'queue_bytes': {
					kind: 'size', min: 1024, max: 2147483648, default: '1M',
					doc: _('So many bytes wait for one client; a larger message waits alone.')
				},
				'qos0_queue_ttl': {
					kind: 'duration', min: 0, max: 3153600000, default: '60',
					doc: _('So long a message with QoS 0 waits for a client that is away; 0: not at all.')
				},
				'session_expiry': {
					kind: 'duration', min: 0, max: 3153600000, default: '1d',
					doc: _('So long the session of an MQTT 3 client that is away is kept.')
				},
				'max_session_expiry': {
					kind: 'duration', min: 0, max: 3153600000, absent: _('no limit'),
					doc: _('The longest that an MQTT 5 client may ask its session to be kept.')
				},
				'max_keep_alive': {
					kind: 'duration', min: 0, max: 65535, default: '0',
					doc: _('The longest keep alive of an MQTT 5 client: one that asks for more, or for none, is told this one. MQTT 3 has no words for it, and keeps what it asks for. 0: any.')
				},
				'response_information': {
					kind: 'owntopic', default: 'reply/%c',
					doc: _('The topic below which an MQTT 5 client that asks for it may expect responses; a level `%u` is the user name, a level `%c` the client id. Told only to who may subscribe to all below it.')
				},
				'server_reference': {
					kind: 'server', list: true, absent: _('none'),
					doc: _('A server that MQTT 5 clients are told to use when this one stops.')
				},
				'sys_interval': {
					kind: 'duration', min: 0, max: 86400, default: '10',
					doc: _('So often the `$SYS` topics are renewed; 0: never.')
				},
				'acl_default': {
					kind: 'word', words: [ 'allow', 'deny' ], default: 'allow',
					doc: _('What holds when no `acl` section matches.')
				},
				'connect_timeout': {
					kind: 'duration', min: 1, max: 3600, default: '15',
					doc: _('The TLS handshake and the CONNECT packet must be there within this time together.')
				},
				'max_unauthenticated': {
					kind: 'count', min: 1, max: 65535, default: '64',
					doc: _('So many connections of one listener may be without an accepted CONNECT at once.')
				},
				'connection_rate': {
					kind: 'count', min: 0, max: 10000, default: '100',
					doc: _('So many new connections a second are accepted from one address, and ten times as many at once; 0: no limit. There is none for the router\'s own programs.')
				},
				'login_delay': {
					kind: 'duration', min: 0, max: 60, default: '5',
					doc: _('The answer to a wrong password waits for so long at most, after many of them from one address; 0: not at all.')
				}
			}
		},
		'local': {
			name: 'local',
			doc: _('The router\'s own programs: 127.0.0.1 and ::1, with a user name and a password.'),
			options: {
				'enabled': {
					kind: 'bool', default: '1',
					doc: _('Whether it listens.')
				},
				'port': {
					kind: 'port', default: '11883',
					doc: _('The TCP port; 0: the kernel chooses one.')
				}
			}
		},
		'remote': {
			name: 'remote',
			doc: _('Other devices: all addresses, by TLS with the certificates of `/etc/ssl/ca/remote`. Every client needs a certificate of that CA; its common name is the user name.'),
			options: {
				'enabled': {
					kind: 'bool', default: '0',
					doc: _('Whether it listens.')
				},
				'port': {
					kind: 'port', default: '11884',
					doc: _('The TCP port; 0: the kernel chooses one.')
				}
			}
		},
		'listener': {
			named: true,
			doc: _('A further listener, any number of them. It listens on all that `address`, `interface`, `device` and `unix` name together; without any of them on all addresses, IPv4 and IPv6.'),
			options: {
				'enabled': {
					kind: 'bool', default: '1',
					doc: _('Whether it listens.')
				},
				'port': {
					kind: 'port', absent: _('1883, with `tls` 8883'),
					doc: _('The TCP port; 0: the kernel chooses one.')
				},
				'address': {
					kind: 'address', list: true, absent: _('none'),
					doc: _('An address to listen on; it may come later.')
				},
				'interface': {
					kind: 'name', list: true, absent: _('none'),
					doc: _('An interface of `/etc/config/network`, by its name there.')
				},
				'device': {
					kind: 'device', list: true, absent: _('none'),
					doc: _('A network device, such as `br-lan`.')
				},
				'unix': {
					kind: 'path', list: true, absent: _('none'),
					doc: _('The path of a Unix socket.')
				},
				'protocol': {
					kind: 'word', words: [ 'mqtt', 'websocket' ], default: 'mqtt',
					doc: _('What is spoken: MQTT, or MQTT in WebSocket frames, for web pages.')
				},
				'origin': {
					kind: 'origin', list: true, absent: _('any where a password is asked for, else the listener\'s own'),
					doc: _('A web page\'s origin, `https://host:port`, from which pages may connect by `websocket`; `*`: any. Clients that are no pages are not bound by it.')
				},
				'tls': {
					kind: 'bool', default: '0',
					doc: _('Whether connections are TLS; needs `cert` and `key`.')
				},
				'ca': {
					kind: 'path', absent: _('none'),
					doc: _('The CA certificates that clients\' certificates are checked against.')
				},
				'cert': {
					kind: 'path', absent: _('none'),
					doc: _('The listener\'s certificate with its chain, in PEM.')
				},
				'key': {
					kind: 'path', absent: _('none'),
					doc: _('The key of the certificate, in PEM.')
				},
				'crl': {
					kind: 'path', absent: _('none'),
					doc: _('The certificates that the CA has revoked, in PEM.')
				},
				'tls_min': {
					kind: 'word', words: [ '1.2', '1.3' ], default: '1.2',
					doc: _('The oldest version of TLS that is spoken.')
				},
				'require_certificate': {
					kind: 'bool', default: '0',
					doc: _('Whether a client needs a certificate; needs `ca`.')
				},
				'identity': {
					kind: 'word', words: [ 'cn', 'subject', 'username' ], absent: _('`cn` with `require_certificate`, else `username`'),
					doc: _('Who a client is: its certificate\'s common name, its certificate\'s subject, or the user name of its CONNECT with the password.')
				},
				'allow_anonymous': {
					kind: 'bool', default: '0',
					doc: _('Whether a client without a user name is accepted.')
				},
				'max_connections': {
					kind: 'count', min: 1, max: 65535, default: '1000',
					doc: _('So many connections at once.')
				},
				'mount_point': {
					kind: 'mountpoint', absent: _('none'),
					doc: _('Put before every topic of this listener\'s clients.')
				},
				'max_qos': {
					kind: 'word', words: [ '0', '1', '2' ], default: '2',
					doc: _('The highest QoS that this listener\'s clients publish with, and get. A client that sends more is closed.')
				},
				'retain_available': {
					kind: 'bool', default: '1',
					doc: _('Whether this listener\'s clients may have messages retained. One that does it all the same is closed.')
				},
				'max_topic_alias': {
					kind: 'count', min: 0, max: 1000, default: '16',
					doc: _('So many topic aliases an MQTT 5 client may set up.')
				},
				'moved_to': {
					kind: 'server', list: true, absent: _('none'),
					doc: _('Where clients find the bus now: they are told so, whoever they are, and closed.')
				}
			}
		},
		'user': {
			named: true,
			doc: _('What is known of a user beside the password, which is never in UCI: `fosquitto passwd` sets it.'),
			options: {
				'name': {
					kind: 'name', absent: _('the section\'s name'),
					doc: _('The user name, if UCI cannot have it as a section\'s name.')
				},
				'group': {
					kind: 'name', list: true, absent: _('none'),
					doc: _('A group that the user is in, for `acl` sections.')
				},
				'pin': {
					kind: 'fingerprint', list: true, absent: _('any certificate'),
					doc: _('A certificate of which one must be shown, by the SHA-256 fingerprint that `openssl x509 -fingerprint -sha256` prints.')
				}
			}
		},
		'acl': {
			doc: _('One rule of who may do what. The rules are asked in their order; the first one that matches decides, and `acl_default` if none does.'),
			options: {
				'user': {
					kind: 'name', list: true, absent: _('everyone'),
					doc: _('The rule is for this user.')
				},
				'group': {
					kind: 'name', list: true, absent: _('everyone'),
					doc: _('The rule is for the users of this group, beside those of `user`.')
				},
				'listener': {
					kind: 'name', list: true, absent: _('any'),
					doc: _('The rule is for the clients of this listener, `local` and `remote` included.')
				},
				'access': {
					kind: 'word', words: [ 'read', 'write', 'readwrite', 'subscribe', 'deny' ], default: 'readwrite',
					doc: _('What the rule is about: `read` is subscribing and receiving, `write` publishing, `subscribe` the subscribing alone; `deny` forbids everything.')
				},
				'topic': {
					kind: 'topic', list: true, absent: _('none: it is required'),
					doc: _('A topic filter; a level `%u` is the user name, a level `%c` the client id. A filter that begins with a wildcard does not mean topics that begin with `$`.')
				},
				'action': {
					kind: 'word', words: [ 'allow', 'deny' ], default: 'allow',
					doc: _('Whether the rule allows or forbids.')
				}
			}
		},
		'persistence': {
			name: 'persistence',
			doc: _('What survives the process and a power cut, and what that may cost the flash.'),
			options: {
				'durability': {
					kind: 'word', words: [ 'volatile', 'interval', 'commit' ], default: 'interval',
					doc: _('What an acknowledgement promises where no `durability` section matches: nothing but this process, to survive the end of the process (and a power cut but for the last `flush_interval`), or to survive a power cut.')
				},
				'path': {
					kind: 'path', absent: _('`/etc/fosquitto/fosquitto.db`'),
					doc: _('The database. Another path holds from the next start.')
				},
				'flush_interval': {
					kind: 'duration', min: 1, max: 86400, default: '30',
					doc: _('So long changes of the class `interval` wait to be written together; what is added and removed meanwhile is never written. A message retained at QoS 0 is written when it is 12 seconds old (or half of this) or later, so that the reply of a foris controller never is.')
				},
				'size_limit': {
					kind: 'size', min: 131072, max: 1099511627776, absent: _('half of what its file system has free, 64M at most'),
					doc: _('The most bytes of the database. What has no room stays in memory only.')
				},
				'daily_budget': {
					kind: 'size', min: 0, max: 1099511627776, default: '8M',
					doc: _('So many bytes are written to the flash a day before `flush_interval` is stretched; nothing is dropped for it, and the class `commit` is not held back; 0: no bound. The default lets 4 MiB of SPI-NOR flash (64 blocks of 64 KiB, 100,000 cycles each) last 28 years if its file system writes everything five times.')
				}
			}
		},
		'durability': {
			doc: _('Topics whose messages have a class of their own. The sections are asked in their order; the first one that matches decides.'),
			options: {
				'topic': {
					kind: 'filter', list: true, absent: _('none: it is required'),
					doc: _('A topic filter.')
				},
				'class': {
					kind: 'word', words: [ 'volatile', 'interval', 'commit' ], absent: _('none: it is required'),
					doc: _('What an acknowledgement of these messages promises, as in `persistence`.')
				}
			}
		},
		'keeper': {
			named: true,
			doc: _('Requests and replies that reach nobody who is connected: they wait for who is late, and then reach them once. Without a section there is the keeper `foris`, for the router\'s own programs; a section `keeper \'foris\'` changes it, and further ones add theirs.'),
			options: {
				'enabled': {
					kind: 'bool', default: '1',
					doc: _('Whether it keeps anything.')
				},
				'request': {
					kind: 'filter', list: true, absent: _('none; of `foris`: its requests'),
					doc: _('A topic filter of messages that are kept while no subscriber is there.')
				},
				'request_ttl': {
					kind: 'duration', min: 1, max: 3600, default: '5',
					doc: _('So long a request waits. Foris\' client asks again after 5 s, or gives up: what came later would be done twice or for nobody.')
				},
				'reply': {
					kind: 'filter', list: true, absent: _('none; of `foris`: its replies'),
					doc: _('A topic filter of messages that are kept for a subscriber that comes later.')
				},
				'reply_ttl': {
					kind: 'duration', min: 1, max: 3600, default: '30',
					doc: _('So long a reply waits. Foris\' client forgets after 30 s what it asked.')
				}
			}
		},
		'bridge': {
			named: true,
			doc: _('A connection to another broker, over which topics are forwarded. What is said here line by line is what mosquitto calls `connection`, `address`, `topic` and so on; the bus goes on whatever becomes of the other side.'),
			options: {
				'enabled': {
					kind: 'bool', default: '1',
					doc: _('Whether it is connected.')
				},
				'address': {
					kind: 'remote', list: true, absent: _('none: it is required'),
					doc: _('Where the other broker is: a name or an address, with a port if it is another than `port`. Several are tried one after the other; the addresses of a name a quarter of a second after one another, until one is connected.')
				},
				'port': {
					kind: 'remoteport', absent: _('1883, with `tls` 8883'),
					doc: _('The port of an `address` without one.')
				},
				'tls': {
					kind: 'bool', default: '0',
					doc: _('Whether the connection is TLS.')
				},
				'ca': {
					kind: 'path', absent: _('the system\'s CAs'),
					doc: _('The CA certificates that the other broker\'s certificate is checked against, in PEM; a file or a directory.')
				},
				'cert': {
					kind: 'path', absent: _('none'),
					doc: _('The certificate that is shown to the other broker, with its chain, in PEM.')
				},
				'key': {
					kind: 'path', absent: _('none'),
					doc: _('The key of `cert`, in PEM.')
				},
				'pin': {
					kind: 'fingerprint', list: true, absent: _('none'),
					doc: _('A certificate of which the other broker must show one, by the SHA-256 fingerprint that `openssl x509 -fingerprint -sha256` prints. Its name is not asked then, nor without `ca` who issued it and until when it is valid.')
				},
				'verify_name': {
					kind: 'bool', default: '1',
					doc: _('Whether the other broker\'s certificate must be for the name that it is connected by. 0: any certificate of the CA will do.')
				},
				'sni': {
					kind: 'host', absent: _('the name in `address`'),
					doc: _('The name that the other broker is asked for in the TLS handshake, and that its certificate must be for.')
				},
				'alpn': {
					kind: 'alpn', list: true, absent: _('none'),
					doc: _('A protocol\'s name that is offered in the TLS handshake; some brokers have MQTT and the web on one port.')
				},
				'tls_min': {
					kind: 'word', words: [ '1.2', '1.3' ], default: '1.2',
					doc: _('The oldest version of TLS that is spoken.')
				},
				'username': {
					kind: 'name', absent: _('none'),
					doc: _('The user name at the other broker.')
				},
				'password_file': {
					kind: 'path', absent: _('none'),
					doc: _('A file whose first line is the password at the other broker.')
				},
				'protocol': {
					kind: 'word', words: [ 'auto', '5', '3.1.1' ], default: 'auto',
					doc: _('The version of MQTT; `auto`: 5, and 3.1.1 where the other broker does not know that.')
				},
				'client_id': {
					kind: 'name', absent: _('`NAME.HOSTNAME`'),
					doc: _('The client id at the other broker.')
				},
				'topic': {
					kind: 'bridgetopic', list: true, absent: _('none: it is required'),
					doc: _('`PATTERN [out or in or both [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]`: what is forwarded, as in mosquitto\'s configuration. `out` is to the other broker, and holds if nothing is said; the QoS is 0 then. The prefixes are put before the pattern on their side, and are exchanged in the topics of messages; `""` is an empty one. Of several lines with prefixes that match a topic the first one translates it.')
				},
				'clean_start': {
					kind: 'bool', default: '0',
					doc: _('Whether each connection begins without what the other broker has kept for it. What waits here waits all the same.')
				},
				'session_expiry': {
					kind: 'duration', min: 0, max: 3153600000, default: '7d',
					doc: _('So long the other broker is asked to keep the session while the connection is lost (MQTT 5).')
				},
				'keepalive': {
					kind: 'duration', min: 5, max: 65535, default: '60',
					doc: _('After so long without a packet the other broker is asked whether it is there. What is on its way to it may stay without a sign for half of that, 30 s at most and as a rule 10 at least, before the connection counts as dead.')
				},
				'connect_timeout': {
					kind: 'duration', min: 1, max: 300, default: '15',
					doc: _('A name must be resolved, a connection made and MQTT accepted within this time each.')
				},
				'restart_timeout': {
					kind: 'duration', min: 1, max: 86400, default: '5',
					doc: _('So long it waits before it connects again, at first.')
				},
				'restart_timeout_max': {
					kind: 'duration', min: 1, max: 86400, default: '30',
					doc: _('So long at most, after many attempts; each waits for a random time between `restart_timeout` and three times the last.')
				},
				'bind_address': {
					kind: 'ip', absent: _('the kernel\'s choice'),
					doc: _('The local address that it connects from.')
				},
				'bind_device': {
					kind: 'device', absent: _('the kernel\'s choice'),
					doc: _('The network device that it connects through.')
				},
				'try_private': {
					kind: 'bool', default: '1',
					doc: _('Whether the other broker is told that this is a bridge, where MQTT 3.1.1 is spoken: then retained messages keep their flag and none comes back. A broker that does not know it is connected to without.')
				},
				'max_hops': {
					kind: 'count', min: 1, max: 255, default: '10',
					doc: _('A message that has passed through so many bridges already is not forwarded (MQTT 5).')
				},
				'retain_out': {
					kind: 'bool', default: '1',
					doc: _('Whether messages keep their retain flag on the way to the other broker.')
				},
				'retain_in': {
					kind: 'bool', default: '1',
					doc: _('Whether messages of the other broker keep their retain flag.')
				},
				'retain_handling': {
					kind: 'word', words: [ 'always', 'new', 'never' ], default: 'new',
					doc: _('Whether the other broker sends what it has retained at each connection, where it has no session of this bridge any more, or not at all (MQTT 5; in 3.1.1 always).')
				},
				'notifications': {
					kind: 'bool', default: '1',
					doc: _('Whether a retained message tells that the bridge is connected (`1`) or not (`0`), here and at the other broker.')
				},
				'notifications_local_only': {
					kind: 'bool', default: '0',
					doc: _('Whether that is told here only.')
				},
				'notification_topic': {
					kind: 'topicname', absent: _('here `$SYS/broker/connection/NAME/state`, there with the client id for the name'),
					doc: _('The topic that it is told on.')
				},
				'queue_messages': {
					kind: 'count', min: 1, max: 1000000, default: '10000',
					doc: _('So many messages wait for the connection; the oldest go first.')
				},
				'queue_bytes': {
					kind: 'size', min: 1024, max: 2147483648, default: '4M',
					doc: _('So many bytes wait for the connection; a larger message waits alone.')
				},
				'queue_ttl': {
					kind: 'duration', min: 1, max: 3153600000, absent: _('no limit'),
					doc: _('So long a message with QoS 1 or 2 waits for the connection.')
				},
				'qos0_queue_ttl': {
					kind: 'duration', min: 0, max: 3153600000, default: '60',
					doc: _('So long a message with QoS 0 waits for the connection; 0: not at all.')
				},
				'max_inflight': {
					kind: 'count', min: 1, max: 65535, default: '20',
					doc: _('So many messages with QoS 1 or 2 are on the way at once; fewer where the other broker says so.')
				}
			}
		},
		'subordinate': {
			named: true,
			doc: _('A device whose controller is reached through this one. Written by the subordinates page. The bus connects to it by the certificates in `/etc/fosquitto/bridges/ID` and forwards what foris asks and is told.'),
			options: {
				'enabled': {
					kind: 'bool', default: '1',
					doc: _('Whether it is connected to.')
				},
				'address': {
					kind: 'ip', absent: _('found on the network'),
					doc: _('Its address.')
				},
				'port': {
					kind: 'port', default: '11884',
					doc: _('The port of its remote side.')
				}
			}
		},
		'subsubordinate': {
			named: true,
			doc: _('A device that is reached through a subordinate: what foris asks it goes the same way.'),
			options: {
				'enabled': {
					kind: 'bool', default: '1',
					doc: _('Whether its messages are forwarded.')
				},
				'via': {
					kind: 'name', absent: _('none: it is required'),
					doc: _('The ID of the subordinate.')
				}
			}
		}
	}
});
