// The pages of luci-app-fosquitto in Debian's Chromium, with a running bus behind them: they open without a fault, show what clients chose
// as text, lose no edit, ask before they destroy, and say what the daemon says.
//
// FOSQUITTO is the program; with SHOTS each page's picture, wide and as on a phone, is put into that folder.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Client } from './mqtt.mjs';
import { Router, pages, until } from './router.mjs';

const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/** What a client may call itself, its user, its topics: it must never become anything but text. */
const HOSTILE = '<img src=x onerror="window.pwned = 1"><script>window.pwned = 2</script>%h%s\'"&amp;';
const CLIENTS = 200;

/** What takes longer does not come. */
const PATIENCE_MS = 15_000;

const CONFIGURATION = root => `config local 'local'
	option port '0'

config listener 'open'
	option port '0'
	list address '127.0.0.1'
	option allow_anonymous 'yes'

config listener 'safe'
	option port '0'
	list address '127.0.0.1'
	option tls '1'
	option cert '${root}/safe.crt'
	option key '${root}/safe.key'

config acl 'guests'
	list topic 'alarm/#'
	option access 'deny'

config acl
	list user 'anna'
	list topic 'home/#'

config acl 'last'
	list topic 'last/#'

config bridge 'cloud'
	list address '127.0.0.1:1'
	list topic '# out 1'
`;

let router, browser;
const clients = [];
const contexts = {};

/* Makes the key of the listener 'safe', and a certificate for 90 days that ends in 10: only 'openssl ca' says from when one is valid. */
function certify(root) {
	const at = days => `${new Date(Date.now() + days * 86400e3).toISOString().replaceAll(/[-:T]|\.\d+/g, '')}`;
	const path = name => join(root, name);
	const openssl = words => execFileSync('openssl', words, { stdio: 'ignore' });

	writeFileSync(path('ca.conf'), `[ca]\ndefault_ca=own\n[own]\ndatabase=${path('ca.txt')}\nserial=${path('ca.serial')}\nnew_certs_dir=${root}\n` +
		'default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n');
	writeFileSync(path('ca.txt'), '');
	writeFileSync(path('ca.serial'), '01');
	openssl([ 'req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=<b>safe<\\/b>',
		'-keyout', path('safe.key'), '-out', path('safe.csr') ]);
	openssl([ 'ca', '-config', path('ca.conf'), '-batch', '-selfsign', '-keyfile', path('safe.key'), '-in', path('safe.csr'),
		'-startdate', at(-80), '-enddate', at(10), '-notext', '-out', path('safe.crt') ]);
}

before(async () => {
	router = new Router(process.env.FOSQUITTO, '');
	const { root } = router;

	certify(root);
	writeFileSync(router.config, CONFIGURATION(root));
	await router.startBus();
	await router.serve();

	for (let i = 0; i < CLIENTS; i++)
		clients.push(await Client.connect(router.port('open'), i % 10 ? `sensor-${i}` : `${HOSTILE}${i}`, { user: null }));

	const hostile = clients[0];
	await hostile.subscribe(`house/${HOSTILE.replaceAll(/[+#]/g, '')}`);
	hostile.publish(`house/${HOSTILE}`, HOSTILE, true);
	hostile.publish('alarm/off', 'x');
	// Something for the graph to show.
	setInterval(() => clients[1].publish('tick', 'x'), 50).unref();

	// Somebody who has gone and left a session.
	const gone = await Client.connect(router.port('open'), `gone ${HOSTILE}`, { clean: false });
	await gone.subscribe('house/+');
	gone.close();

	browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [ '--no-sandbox', '--disable-gpu' ] });
});

after(async () => {
	await browser?.close();
	clients.forEach(client => client.close());
	await router?.close();
});

/** A browser's profile for a session and a screen: what it has loaded stays in its cache. */
async function contextOf(session, viewport) {
	const key = `${session} ${viewport.width}`;

	if (!contexts[key]) {
		contexts[key] = await browser.newContext({ viewport });
		await contexts[key].addCookies([ { name: 'session', value: session, url: router.url } ]);
	}

	return contexts[key];
}

/** A page that is shown. What its scripts do wrong is a fault of the test that closes it. */
async function open(name, { viewport = WIDE, session = 'admin', query = '' } = {}) {
	const context = await contextOf(session, viewport);
	const page = await context.newPage();

	page.setDefaultTimeout(PATIENCE_MS);
	page.wrong = [];
	page.on('pageerror', error => page.wrong.push(error.stack));
	page.on('console', said => said.type() == 'error' && page.wrong.push(said.text()));
	await page.goto(`${router.url}/admin/services/fosquitto/${name}${query}`);
	await page.waitForSelector('body[data-view=shown]');

	return page;
}

async function close(page) {
	assert.deepEqual(page.wrong, []);
	assert.equal(await page.evaluate(() => window.pwned), undefined, 'a name became script');
	assert.equal(await page.locator('#maincontent img, #maincontent script, #modal_overlay img').count(), 0, 'a name became markup');
	await page.close();
}

/** The text of a table of the status page, once a row holds what is sought. */
async function rows(page, table, sought) {
	const locator = page.locator(`[data-table=${table}] tr`, { hasText: sought });

	await locator.first().waitFor();
	return locator;
}

const applied = page => page.waitForSelector('body[data-applied]');
const press = (within, title) => within.getByRole('button', { name: title, exact: true }).click();

for (const [ size, viewport ] of Object.entries({ wide: WIDE, phone: PHONE })) {
	test(`every page opens without a fault and fits a screen that is ${size}`, async () => {
		for (const [ name ] of pages()) {
			const page = await open(name, { viewport });

			if (name == 'status') {
				await rows(page, 'clients', 'sensor-1');
				// A line of zeroes has no height, so it is there without being 'visible'.
				await page.locator('.fosquitto-graph .line[points*=" "]').first().waitFor({ state: 'attached' });
			}

			if (name == 'trace') {
				await page.fill('[data-trace=name]', 'sensor-1');
				await press(page, 'Start');
				await rows(page, 'trace', 'tick');
			}

			const width = await page.evaluate(() => document.documentElement.scrollWidth);
			assert.ok(width <= viewport.width, `${name} is ${width} wide`);

			if (process.env.SHOTS) {
				mkdirSync(process.env.SHOTS, { recursive: true });
				await page.screenshot({ path: join(process.env.SHOTS, `${name}-${size}.png`), fullPage: name != 'status' && name != 'trace' });
			}

			if (name == 'trace') {
				await press(page, 'Stop');
				await page.getByText('Nothing is watched.').waitFor();
			}

			await close(page);
		}
	});
}

test('what clients chose stands in the pages as they wrote it', async () => {
	const page = await open('status');

	await rows(page, 'clients', `${HOSTILE}10`);
	assert.equal(await page.locator('[data-table=clients] tr').count(), CLIENTS + 1);
	await page.fill('[data-search=clients]', 'onerror');
	await until('the table to be narrowed', async () => await page.locator('[data-table=clients] tr').count() == CLIENTS / 10 + 1);

	await page.getByText('Sessions and queues').click();
	const session = await rows(page, 'sessions', `gone ${HOSTILE}`);
	await session.getByRole('button', { name: 'Details' }).click();
	await page.locator('.modal').getByText(`gone ${HOSTILE}`).waitFor();
	await press(page, 'Close');

	await page.getByText('Retained messages', { exact: true }).last().click();
	await rows(page, 'retained', `house/${HOSTILE}`);

	await page.getByText('Denied', { exact: true }).last().click();
	const denial = await rows(page, 'denials', 'alarm/off');
	assert.match(await denial.first().innerText(), /guests/);

	await page.locator('.cbi-tabmenu').getByText('Listeners').click();
	await page.getByText('CN=\\<b\\>safe').first().waitFor();
	await page.getByText('expires in 9 d').waitFor();

	await page.locator('.cbi-tabmenu').getByText('Bridges').click();
	await page.locator('.fosquitto-denied', { hasText: 'Connection refused' }).waitFor();

	await page.goto(`${router.url}/admin/services/fosquitto/log`);
	await page.locator('.fosquitto-log').getByText('onerror').first().waitFor();
	await close(page);
});

test('kicking asks first, and then ends that client alone', async () => {
	const victim = await Client.connect(router.port('open'), `victim ${HOSTILE}`);
	const page = await open('status');

	await page.fill('[data-search=clients]', 'victim');
	const row = await rows(page, 'clients', 'victim');
	await row.getByRole('button', { name: 'Kick' }).click();
	await page.locator('.modal').getByText(`victim ${HOSTILE}`).waitFor();
	await press(page, 'Cancel');
	assert.ok(!victim.socket.destroyed, 'it was asked, not answered');

	await row.getByRole('button', { name: 'Kick' }).click();
	await page.locator('.modal').getByRole('button', { name: 'Kick' }).click();
	await victim.ended;
	await page.getByText('No client is connected.').waitFor();
	assert.ok(!clients[0].socket.destroyed, 'others stay');
	await close(page);
});

test('dropping a session and clearing retained messages ask first too', async () => {
	const page = await open('status');

	await page.getByText('Sessions and queues').click();
	await page.fill('[data-search=sessions]', 'gone');
	const session = await rows(page, 'sessions', 'gone');
	await session.getByRole('button', { name: 'Drop' }).click();
	await page.locator('.modal').getByRole('button', { name: 'Drop' }).click();
	await page.getByText('There is no session.').waitFor();

	await page.getByText('Retained messages', { exact: true }).last().click();
	await page.fill('[data-search=retained]', 'house/#');
	await press(page, 'Clear all that match');
	await page.locator('.modal').getByRole('button', { name: 'Clear' }).click();
	await page.getByText('No message is retained.').waitFor();
	await close(page);
});

test('an edit survives that the bus goes away and comes back', async () => {
	const page = await open('general');
	const field = page.locator('[id="widget.cbid.fosquitto.global.queue_messages"]');

	await field.fill('77');
	await router.stopBus();

	const other = await open('status');
	await other.getByText('The bus does not answer').waitFor();
	await close(other);
	assert.equal(await field.inputValue(), '77');
	await press(page, 'Save');
	await until('the edit to be kept for the session', () => router.pending.admin);
	await page.reload();
	await page.waitForSelector('body[data-view=shown]');
	assert.equal(await field.inputValue(), '77');
	assert.doesNotMatch(readFileSync(router.config, 'utf8'), /queue_messages/);

	// Nor does it need somebody to check it.
	router.has_no_plugin = true;
	await field.fill('78');
	await press(page, 'Save');
	await until('the other edit to be kept', () => router.pending.admin.global.queue_messages == '78');
	assert.equal(await field.inputValue(), '78');
	router.has_no_plugin = false;

	await router.startBus();
	await press(page, 'Save & Apply');
	await applied(page);
	assert.match(readFileSync(router.config, 'utf8'), /option queue_messages '78'/);
	assert.match(readFileSync(router.config, 'utf8'), /option allow_anonymous 'yes'/, 'what nobody touched is as it was');
	await close(page);
});

test('what the daemon would refuse is not applied, and is told in its words', async () => {
	const page = await open('listeners');

	await page.fill('.cbi-section-create-name', 'lost');
	await press(page, 'Add a listener');
	const modal = page.locator('.modal');
	await modal.locator('[id="widget.cbid.fosquitto.lost.port"]').fill('99999');
	await modal.getByText("'99999' is not a port (1-65535)").or(modal.locator('[data-tooltip="\'99999\' is not a port (1-65535)"]')).first().waitFor();
	await press(modal, 'Save');
	assert.ok(await modal.isVisible(), 'the dialog stays with a wrong value');

	// Each value is right, and the whole is not.
	await modal.locator('[id="widget.cbid.fosquitto.lost.port"]').fill('8883');
	await modal.getByText('TLS', { exact: true }).first().click();
	await modal.locator('[id="widget.cbid.fosquitto.lost.tls"]').check();
	await press(modal, 'Save');
	await modal.waitFor({ state: 'detached' });
	await press(page, 'Save & Apply');
	await page.locator('.fosquitto-faults').getByText('fosquitto.lost').first().waitFor();
	assert.doesNotMatch(readFileSync(router.config, 'utf8'), /lost/);

	await page.locator('tr[data-sid=lost]').getByRole('button', { name: 'Delete' }).click();
	await page.locator('tr[data-sid=lost]').waitFor({ state: 'detached' });
	await press(page, 'Save & Apply');
	await applied(page);
	await close(page);
});

test('the tester says what the running bus says, and by which rule', async () => {
	const page = await open('access');

	await page.fill('[data-why=topic]', 'alarm/off');
	await page.fill('[data-why=user]', '<b>anna</b>');
	await press(page, 'Ask');
	await page.locator('.fosquitto-answer').getByText('Denied').waitFor();
	assert.match(await page.locator('.fosquitto-answer').innerText(), /guests/);
	await page.fill('[data-why=topic]', 'home/light');
	await page.fill('[data-why=user]', 'anna');
	await press(page, 'Ask');
	await page.locator('.fosquitto-answer').getByText('Allowed').waitFor();
	await close(page);
});

test('the trace shows what a client does while it is watched, and stops when it is told to', async () => {
	const name = `traced ${HOSTILE}`;
	const traced = await Client.connect(router.port('open'), name);
	const status = await open('status');

	await status.fill('[data-search=clients]', 'traced');
	await (await rows(status, 'clients', name)).getByRole('button', { name: 'Details' }).click();
	await status.locator('.modal').getByText('Trace', { exact: true }).click();
	await status.waitForSelector('.fosquitto-trace');
	await close(status);

	const page = await open(`trace#${encodeURIComponent(name)}`);
	const watch = () => page.locator('[data-table=watches] tr', { hasText: name });

	assert.equal(await page.inputValue('[data-trace=name]'), name);
	await press(page, 'Start');
	await watch().waitFor();
	traced.publish(`traced/${HOSTILE}`, 'secret words');
	const event = await rows(page, 'trace', `traced/${HOSTILE}`);
	assert.match(await event.first().innerText(), /received.*PUBLISH/s);
	assert.doesNotMatch(await page.locator('#maincontent').innerText(), /secret words/);

	await page.fill('[data-search=trace]', 'nobody is called so');
	await page.getByText('Nothing has happened.').waitFor();
	await page.fill('[data-search=trace]', '');
	await rows(page, 'trace', `traced/${HOSTILE}`);

	// What is paused stays as it is until it goes on.
	await press(page, 'Pause');
	traced.publish('traced/later', 'x');
	await until('the trace to have it', () => router.run('trace').includes('traced/later'));
	await page.evaluate(() => Promise.all(L.poll.queue.map(entry => entry.work())));
	assert.equal(await page.locator('[data-table=trace] tr', { hasText: 'traced/later' }).count(), 0);
	await press(page, 'Go on');
	await rows(page, 'trace', 'traced/later');

	await watch().getByRole('button', { name: 'Stop' }).click();
	await page.getByText('Nothing is watched.').waitFor();

	await page.selectOption('[data-trace=kind]', 'filter');
	await page.fill('[data-trace=name]', 'traced/<b>/#/wrong');
	await press(page, 'Start');
	await page.getByText("'traced/<b>/#/wrong' is not a topic filter").waitFor();
	await page.fill('[data-trace=name]', 'traced/+');
	await press(page, 'Start');
	await page.locator('[data-table=watches] tr', { hasText: 'traced/+' }).waitFor();
	traced.publish('traced/again', 'x');
	await rows(page, 'trace', 'traced/again');
	await page.locator('[data-table=watches]').getByRole('button', { name: 'Stop' }).click();
	await page.getByText('Nothing is watched.').waitFor();
	traced.close();
	await close(page);

	const guest = await open('trace', { session: 'guest' });
	await rows(guest, 'trace', 'traced/again');
	assert.ok(await guest.getByRole('button', { name: 'Start' }).isDisabled());
	await close(guest);
});

test('rules that are dragged are asked in their new order', async () => {
	const page = await open('access');
	const order = () => Array.from(readFileSync(router.config, 'utf8').matchAll(/list topic '(\w+)/g), found => found[1]);

	assert.deepEqual(order(), [ 'alarm', 'home', 'last' ]);
	// A click on the head of a column would sort them for good.
	const shown = () => page.locator('tr[data-sid]').evaluateAll(rows => rows.map(row => row.getAttribute('data-sid')));
	const before = await shown();
	for (const head of await page.locator('.cbi-section-table-titles th').all()) {
		await head.click();
		assert.deepEqual(await shown(), before);
	}
	await page.locator('tr[data-sid=last]').dragTo(page.locator('tr[data-sid=guests]'), { targetPosition: { x: 30, y: 2 } });
	await press(page, 'Save & Apply');
	await applied(page);
	assert.deepEqual(order(), [ 'last', 'alarm', 'home' ]);
	await close(page);
});

test('a password goes to the file of passwords, lets its user in, and never stands in UCI', async () => {
	const page = await open('users');
	const modal = page.locator('.modal');

	await press(page, 'Add a user with a password');
	await modal.locator('#fosquitto-user').fill('<i>bob');
	await modal.locator('#fosquitto-password').fill('a good password');
	await modal.locator('#fosquitto-again').fill('another one');
	await press(page, 'Set password');
	await modal.getByText('The two passwords differ.').waitFor();
	await modal.locator('#fosquitto-again').fill('a good password');
	await press(page, 'Set password');
	await page.locator('[data-table=users]').getByText('<i>bob').waitFor();

	const bob = await until('the bus to know the password', () =>
		Client.connect(router.port('local'), 'bob', { user: '<i>bob', password: 'a good password' }).catch(() => null));
	assert.doesNotMatch(readFileSync(router.config, 'utf8'), /bob|password/);

	await page.locator('tr', { hasText: '<i>bob' }).getByRole('button', { name: 'Remove' }).click();
	await modal.getByRole('button', { name: 'Remove' }).click();
	await page.getByText('Nobody has a password yet.').waitFor();
	await bob.ended;
	await close(page);
});

test('who may only read is shown everything, offered nothing, and refused the rest', async () => {
	for (const [ name ] of pages())
		await close(await open(name, { session: 'guest' }));

	clients.push(await Client.connect(router.port('open'), 'somebody'));
	const page = await open('status', { session: 'guest' });
	await rows(page, 'clients', 'somebody');
	assert.ok(await page.getByRole('button', { name: 'Kick' }).first().isDisabled());
	const refused = await page.evaluate(() => L.require('fosquitto.bus').then(bus => bus.ask('kick', { client_id: 'somebody' })).then(() => 'kicked', error => error.message));
	assert.match(refused, /Permission denied/);
	await close(page);
});

test('every option of the table has a field, where its section is edited', async () => {
	const pages_of = { listener: 'listeners', user: 'users', acl: 'access', durability: 'persistence', keeper: 'persistence', bridge: 'forwards', subordinate: 'forwards', subsubordinate: 'forwards' };
	const found = {};
	let table;

	for (const name of [ 'general', 'access', 'persistence', 'log' ]) {
		const page = await open(name);

		table = await page.evaluate(() => L.require('fosquitto.options').then(options => Object.fromEntries(
			Object.entries(options.sections).map(([ type, section ]) => [ type, Object.keys(section.options) ]))));

		for (const field of await page.locator('.cbi-section-node [data-field]').evaluateAll(nodes => nodes.map(node => node.getAttribute('data-field'))))
			(found[field.split('.')[2]] ||= []).push(field.split('.')[3]);

		await close(page);
	}

	for (const type of Object.keys(table).filter(type => pages_of[type])) {
		const page = await open(pages_of[type]);
		const section = page.locator(`#cbi-fosquitto-${type}`);

		if (await section.locator('.cbi-section-create-name').count())
			await section.locator('.cbi-section-create-name').fill('a_new_one');

		await section.locator('.cbi-section-create button').click();
		found[type] = await page.locator('.modal [data-name]').evaluateAll(nodes => nodes.map(node => node.getAttribute('data-name')));
		await press(page, 'Dismiss');
		await close(page);
	}

	for (const [ type, options ] of Object.entries(table))
		assert.deepEqual((found[type] || []).sort(), options.sort(), type);
});

test('the form finds wrong what the daemon finds wrong, in the same words', async () => {
	const samples = JSON.parse(readFileSync(new URL('values.json', import.meta.url)));
	const page = await open('log');
	const answers = await page.evaluate(samples => Promise.all([ L.require('fosquitto.options'), L.require('fosquitto.values') ]).then(([ options, values ]) =>
		Object.fromEntries(Object.keys(samples).filter(path => path != 'values').map(path => {
			const [ type, name ] = path.split('.');
			const row = options.sections[type].options[name];

			if (!values.knows(row.kind))
				return [ path, `the kind ${row.kind} is not known` ];

			return [ path, Object.fromEntries(samples.values.map(value => [ value, values.fault(row, value) ]).filter(([ , fault ]) => fault != null)) ];
		}))), samples);

	for (const [ path, answer ] of Object.entries(answers))
		assert.deepEqual(answer, samples[path], path);

	await close(page);
});

test('the pages speak Czech and German', async () => {
	for (const [ lang, title ] of [ [ 'cs', 'Sběrnice zpráv' ], [ 'de', 'Nachrichtenbus' ] ]) {
		const page = await open('status', { query: `?lang=${lang}`, viewport: PHONE });

		await page.getByRole('heading', { name: title }).waitFor();
		await close(page);
	}
});
