import { createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { addressOf } from '../../../../test/make/table.ts';
import { systemClock } from '../../../main/node/clock.ts';
import type { Clock } from '../../../ports/clock.ts';
import { type HeaderEnd, makeDial, proxyHeader } from './proxy-header.ts';

const end = (text: string, port: number): HeaderEnd => ({ address: addressOf(text), port });

test('the header of version 1', () => {
  const four = proxyHeader(1, end('192.0.2.1', 1234), end('198.51.100.2', 443));
  expect(four.toString()).toBe('PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n');
  const six = proxyHeader(1, end('fd00::1', 1234), end('fd00::2', 443));
  expect(six.toString()).toBe('PROXY TCP6 fd00::1 fd00::2 1234 443\r\n');
});

test('the header of version 2', () => {
  const signature = '0d0a0d0a000d0a515549540a';
  const four = proxyHeader(2, end('192.0.2.1', 0x1234), end('198.51.100.2', 443));
  expect(four.toString('hex')).toBe(`${signature}2111000cc0000201c6336402123401bb`);
  const six = proxyHeader(2, end('fd00::1', 0x1234), end('fd00::2', 443));
  const [source, destination] = ['fd000000000000000000000000000001', 'fd000000000000000000000000000002'];
  expect(six.toString('hex')).toBe(`${signature}21210024${source}${destination}123401bb`);
});

async function serve(onConnection: (socket: Socket) => void): Promise<HeaderEnd> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    onConnection(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => void server.close());
  return end('127.0.0.1', (server.address() as { readonly port: number }).port);
}

const { signal } = new AbortController();
/** No server on the loopback needs longer. */
const hasty: Pick<Clock, 'deadline'> = { deadline: (_, outer) => systemClock.deadline(50, outer) };

test('a server that closes the connection, resets it, or keeps it, with or without speaking first', async () => {
  const dial = makeDial({ clock: systemClock });
  const closing = await serve((socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
  expect(await dial(closing, () => Buffer.from('x'), signal)).toBe('refused');
  const resetting = await serve((socket) => socket.once('data', () => socket.resetAndDestroy()));
  expect(await dial(resetting, () => Buffer.from('x'), signal)).toBe('refused');
  const keeping = await serve((socket) => void socket.write('220 hello\r\n'));
  for (const server of [keeping, closing])
    expect(await makeDial({ clock: hasty })(server, () => undefined, signal)).toBe('open');
  expect(await dial(end('127.77.0.2', 1), () => undefined, signal)).toBe('unreachable');
});

test.each([
  ['HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ['TLS', Buffer.from('15030100020246', 'hex')],
])('a server that answers with an error of %s and keeps the connection refuses the first bytes', async (_, answer) => {
  const dial = makeDial({ clock: systemClock });
  const server = await serve((socket) =>
    socket.once('data', () => {
      socket.write(answer.slice(0, 3)); // in two segments, perhaps
      socket.write(answer.slice(3));
    }),
  );
  expect(await dial(server, () => Buffer.from('x'), signal)).toBe('refused');
  expect(await makeDial({ clock: hasty })(server, () => undefined, signal)).toBe('open');
});

test('a server that never reads keeps the connection, whatever it is sent', async () => {
  const server = await serve((socket) => void socket.pause());
  expect(await makeDial({ clock: hasty })(server, () => Buffer.alloc(1_000), signal)).toBe('open');
});

test('the first bytes are made for the own end of the connection', async () => {
  const heard = Promise.withResolvers<string>();
  const server = await serve((socket) =>
    socket.once('data', (text: Buffer) => {
      heard.resolve(`${text.toString()} ${socket.remotePort}`);
      socket.end();
    }),
  );
  await makeDial({ clock: systemClock })(server, ({ address, port }) => Buffer.from(`${address.text} ${port}`), signal);
  expect(await heard.promise).toMatch(/^127\.0\.0\.1 (\d+) \1$/);
});
