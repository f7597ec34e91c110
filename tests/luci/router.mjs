// A router for the tests: a scratch root with a running bus, and what uhttpd and rpcd do for LuCI's pages: serve files, hold a session's
// edits of UCI, let a session call what acl.d grants it and nothing else, and ask the bus's plugin.

import { execFileSync, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as po from './po.mjs';
import * as uci from './uci.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
export const PROJECT = join(HERE, '../..');
export const APP = join(PROJECT, 'openwrt/luci-app-fosquitto');
const PLUGIN = join(PROJECT, 'files/usr/libexec/rpcd/fosquitto');
const ACL = join(APP, 'root/usr/share/rpcd/acl.d/luci-app-fosquitto.json');
const MENU = join(APP, 'root/usr/share/luci/menu.d/luci-app-fosquitto.json');

const NOT_FOUND = 4, DENIED = 6;
const TYPES = { '.js': 'text/javascript', '.css': 'text/css' };

/** The menu's pages: [ name, title, path of the view ]. */
export function pages() {
	return Object.entries(JSON.parse(readFileSync(MENU, 'utf8'))).filter(([ , entry ]) => entry.action.type == 'view')
		.map(([ path, entry ]) => [ basename(path), entry.title, entry.action.path ]);
}

/** Waits until something is there. */
export async function until(what, look, patience_s = 20) {
	for (const end = Date.now() + patience_s * 1000; Date.now() < end;) {
		const found = await look();

		if (found)
			return found;

		await new Promise(resolve => setTimeout(resolve, 20));
	}

	throw new Error(`waited in vain for: ${what}`);
}

export class Router {
	constructor(program, configuration) {
		this.root = mkdtempSync(join(tmpdir(), 'luci-'));
		this.program = program;
		this.pending = {};

		for (const folder of [ 'etc/config', 'usr/sbin', 'bin', 'var/run/fosquitto' ])
			mkdirSync(join(this.root, folder), { recursive: true });

		symlinkSync(program, join(this.root, 'usr/sbin/fosquitto'));
		// The log is a file here.
		writeFileSync(join(this.root, 'bin/logread'), `#!/bin/sh\ncat '${this.root}/log'\n`, { mode: 0o755 });
		writeFileSync(join(this.root, 'log'), '');
		writeFileSync(this.config, configuration);
	}

	get config() {
		return join(this.root, 'etc/config/fosquitto');
	}

	run(...words) {
		return execFileSync(this.program, [ '--root', this.root ].concat(words), { encoding: 'utf8', stdio: [ 'pipe', 'pipe', 'pipe' ] });
	}

	async startBus() {
		this.bus = spawn(this.program, [ '--root', this.root, 'serve' ], { stdio: [ 'ignore', 'ignore', 'pipe' ] });
		this.bus.stderr.on('data', data => writeFileSync(join(this.root, 'log'), data, { flag: 'a' }));
		this.status = await until('the bus', () => {
			try {
				return JSON.parse(this.run('status', '--json'));
			}
			catch {
				return null;
			}
		});
	}

	/** The TCP port of a listener. */
	port(name) {
		return Number(this.status.listeners.find(listener => listener.name == name).places[0].split(':').at(-1));
	}

	async stopBus() {
		if (this.bus && this.bus.exitCode == null) {
			const ended = new Promise(resolve => this.bus.once('exit', resolve));
			this.bus.kill();
			await ended;
		}
	}

	async serve() {
		this.server = createServer((request, response) => this.respond(request, response).catch(error => response.destroy(error)));
		await new Promise(resolve => this.server.listen(0, '127.0.0.1', resolve));
		this.url = `http://127.0.0.1:${this.server.address().port}`;
	}

	async close() {
		await this.stopBus();
		this.server?.closeAllConnections();
		this.server?.close();
		rmSync(this.root, { recursive: true });
	}

	async respond(request, response) {
		const { pathname, searchParams } = new URL(request.url, 'http://router');
		const session = /session=(\w+)/.exec(request.headers.cookie || '')?.[1] || 'admin';

		if (pathname == '/ubus') {
			let text = '';

			for await (const part of request)
				text += part;

			const replies = [];

			for (const call of JSON.parse(text))
				replies.push(await this.call(session, call));

			return response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(replies));
		}

		if (pathname.startsWith('/luci-static/resources/'))
			return this.file(pathname.slice('/luci-static/resources/'.length), response);

		const page = pages().find(([ name ]) => pathname == `/admin/services/fosquitto/${name}`);

		if (!page)
			return response.writeHead(404).end();

		return response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' })
			.end(frame(page, session != 'admin', translations(searchParams.get('lang'))));
	}

	file(path, response) {
		const found = [ join(APP, 'htdocs/luci-static/resources'), join(HERE, 'resources') ]
			.map(folder => join(folder, normalize(`/${path}`))).find(existsSync);

		if (!found)
			return response.writeHead(404).end();

		return response.writeHead(200, { 'Content-Type': `${TYPES[extname(found)]}; charset=utf-8`, 'Cache-Control': 'max-age=3600' }).end(readFileSync(found));
	}

	/** One call on ubus: its code, and its answer. */
	async call(session, { object, method, params }) {
		if (!granted(session, object, method))
			return [ DENIED ];

		if (object == 'uci')
			return [ 0, this.uci(session, method, params) ];

		if (object != 'fosquitto' || this.has_no_plugin)
			return [ NOT_FOUND ];

		// As rpcd does it, which adds the session to what is asked.
		return [ 0, await this.plugin(method, { ...params, ubus_rpc_session: '0123456789abcdef' }) ];
	}

	plugin(method, params) {
		return new Promise((resolve, reject) => {
			const plugin = spawn('sh', [ PLUGIN, 'call', method ], {
				env: { PATH: `${this.root}/bin:${process.env.PATH}`, IPKG_INSTROOT: this.root }, stdio: [ 'pipe', 'pipe', 'inherit' ]
			});
			let said = '';

			plugin.stdout.on('data', data => { said += data; });
			plugin.on('error', reject);
			plugin.on('close', () => {
				try {
					resolve(JSON.parse(said));
				}
				catch (error) {
					reject(error);
				}
			});
			plugin.stdin.end(JSON.stringify(params));
		});
	}

	/** The session's edits are its own until they are applied. */
	uci(session, method, params) {
		switch (method) {
		case 'get':
			return { values: this.pending[session] || uci.parse(readFileSync(this.config, 'utf8')) };
		case 'set_all': {
			const text = uci.write(params.sections);
			this.pending[session] = uci.parse(text);
			return {};
		}
		default:
			if (this.pending[session]) {
				const sections = Object.values(this.pending[session]).sort((one, other) => one['.index'] - other['.index']);
				writeFileSync(this.config, uci.write(sections));
				delete this.pending[session];
				// What procd's trigger does, by the init script.
				this.bus?.kill('SIGHUP');
			}

			return {};
		}
	}
}

/** Whether acl.d lets a session call a method: `admin` has read and write, `guest` has read alone. */
function granted(session, object, method) {
	return Object.values(JSON.parse(readFileSync(ACL, 'utf8'))).some(group => [ 'read', 'write' ].some(right => {
		if (right == 'write' && session != 'admin')
			return false;

		if (object == 'uci')
			return group[right].uci.includes('fosquitto') && (right == 'write' || method == 'get');

		return group[right].ubus[object]?.includes(method);
	}));
}

function translations(lang) {
	return lang ? po.read(join(APP, 'po', lang, 'fosquitto.po')) : {};
}

/** The page around a view, as a theme has it. */
function frame([ name, , view ], readonly, translated) {
	const env = JSON.stringify({ view, readonly, translations: translated }).replaceAll('<', '\\u003c');
	const menu = pages().map(([ other, title ]) =>
		`<li class="${other == name ? 'active' : ''}"><a href="/admin/services/fosquitto/${other}">${translated[title] || title}</a></li>`).join('');

	return `<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${name}</title><link rel="stylesheet" href="/luci-static/resources/theme.css"><link rel="icon" href="data:,">
<script type="application/json" id="env">${env}</script><script src="/luci-static/resources/luci.js"></script></head>
<body><header><ul class="nav">${menu}</ul></header><main id="maincontent"><div id="view"></div></main></body></html>`;
}
