import { createConnection } from 'node:net';
import { destroyOnAbort } from '../../../async/destroy-on-abort.ts';
import { bitsOf, type Ip, parseIp } from '../../../core/ip/ip.ts';
import type { Clock } from '../../../ports/clock.ts';

/** One end of a connection. */
export type HeaderEnd = { readonly address: Ip; readonly port: number };

const signature = '\r\n\r\n\0\r\nQUIT\n';

/** A header of the PROXY protocol, as HAProxy sends it (doc/proxy-protocol.txt of HAProxy). Both ends are of one family. */
export function proxyHeader(version: 1 | 2, source: HeaderEnd, destination: HeaderEnd): Buffer {
  const ends = [source, destination];
  const { family } = source.address;
  if (version === 1) {
    const addresses = ends.map(({ address }) => address.text).join(' ');
    return Buffer.from(`PROXY TCP${family} ${addresses} ${ends.map(({ port }) => port).join(' ')}\r\n`, 'latin1');
  }
  const digits = bitsOf(family) / 4;
  const addresses = ends.map(({ address }) => address.value.toString(16).padStart(digits, '0'));
  const ports = ends.map(({ port }) => port.toString(16).padStart(4, '0'));
  const body = Buffer.from([...addresses, ...ports].join(''), 'hex');
  const head = Buffer.from([0x21, family === 4 ? 0x11 : 0x21, 0, body.length]); // version 2, PROXY; TCP; length
  return Buffer.concat([Buffer.from(signature, 'latin1'), head, body]);
}

/**
 * What a server does with a connection within a second. `refused`: ends it, or answers with an error of HTTP or TLS. `unreachable`:
 * there is no server.
 */
export type DialResult = 'open' | 'refused' | 'unreachable';

/**
 * An HTTP response or a TLS alert (RFC 8446 §6): a server of these protocols that expects the header waits for a request after it.
 */
const refusals = ['HTTP/1.', '\u0015\u0003'];

/**
 * Connects to a server, sends what `first` makes of the own end of the connection, and waits. Rejects only with the signal's
 * reason.
 */
export type Dial = (
  server: HeaderEnd,
  first: (local: HeaderEnd) => Buffer | undefined,
  signal: AbortSignal,
) => Promise<DialResult>;

const waitMs = 1000;

export function makeDial({ clock }: { readonly clock: Pick<Clock, 'deadline'> }): Dial {
  return ({ address, port }, first, signal) =>
    new Promise((resolve, reject) => {
      const deadline = clock.deadline(waitMs, signal);
      let isConnected = false;
      const finish = (result: DialResult): void => {
        socket.destroy();
        resolve(result);
      };
      const socket = createConnection({ host: address.text, port });
      destroyOnAbort(socket, deadline.signal);
      let heard = '';
      socket.setEncoding('latin1').on('data', (text: string) => {
        heard = (heard + text).slice(0, 8);
        if (refusals.some((start) => heard.startsWith(start))) finish('refused');
      });
      socket.on('connect', () => {
        isConnected = true;
        const local = parseIp(socket.localAddress ?? '');
        const text = local === undefined ? undefined : first({ address: local, port: socket.localPort ?? 0 });
        if (text !== undefined) socket.write(text);
      });
      socket.on('end', () => finish('refused'));
      socket.on('close', () => deadline[Symbol.dispose]());
      socket.on('error', () => {
        if (signal.aborted) reject(signal.reason);
        else if (deadline.signal.aborted) finish(isConnected ? 'open' : 'unreachable');
        else finish(isConnected ? 'refused' : 'unreachable');
      });
    });
}
