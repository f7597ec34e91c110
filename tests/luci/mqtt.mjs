// MQTT clients as raw as the tests need them: MQTT 3.1.1, QoS 0, and no waiting but for what is asked for.

import { connect } from 'node:net';
import { once } from 'node:events';

function string(text) {
	const bytes = Buffer.from(text);
	return Buffer.concat([ Buffer.from([ bytes.length >> 8, bytes.length & 255 ]), bytes ]);
}

function packet(first, ...parts) {
	const body = Buffer.concat(parts);
	const length = [];
	let left = body.length;

	do {
		length.push((left & 127) | (left > 127 ? 128 : 0));
		left >>= 7;
	} while (left);

	return Buffer.concat([ Buffer.from([ first ].concat(length)), body ]);
}

/** A client that is connected. */
export class Client {
	/** Resolves when the bus has accepted it. */
	static async connect(port, client_id, { user, password, clean = true } = {}) {
		const client = new Client();
		const flags = (clean ? 2 : 0) | (user == null ? 0 : 128) | (password == null ? 0 : 64);

		client.socket = connect(port, '127.0.0.1');
		client.socket.on('error', () => {});
		client.ended = once(client.socket, 'close');
		client.socket.write(packet(0x10, string('MQTT'), Buffer.from([ 4, flags, 0, 0 ]), string(client_id),
			user == null ? Buffer.alloc(0) : string(user), password == null ? Buffer.alloc(0) : string(password)));
		const answer = await client.answer();

		if (answer[0] != 0x20 || answer[3] != 0)
			throw new Error(`refused: ${answer.toString('hex')}`);

		return client;
	}

	async answer() {
		return (await once(this.socket, 'data'))[0];
	}

	/** Resolves when the bus has granted it. */
	async subscribe(filter) {
		this.socket.write(packet(0x82, Buffer.from([ 0, 1 ]), string(filter), Buffer.from([ 0 ])));
		await this.answer();
	}

	publish(topic, payload, retain = false) {
		this.socket.write(packet(0x30 | (retain ? 1 : 0), string(topic), Buffer.from(payload)));
	}

	close() {
		this.socket.destroy();
	}
}
