/*
 * Runs on the client: `node flows.ts ADDRESS TCP_PORT COUNT UDP_PORT COUNT` holds connections and flows of datagrams to Pods, each of
 * which asks for the name of its Pod every two seconds. It says `running` when all know theirs, and prints the result after SIGTERM
 * ({@link FlowsResult}).
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type FlowsResult = {
  readonly flows: number;
  /** Another Pod answered than at first. */
  readonly moved: number;
  /** Ended, or without an answer for four seconds at the end. */
  readonly broken: number;
};

type Flow = { readonly ask: () => void; first?: string; last?: string; isEnded: boolean; heardMs: number };

const askEveryMs = 2_000;
const silentMs = 4_000;
const [address = '', tcpPort, tcpCount, udpPort, udpCount] = process.argv.slice(2);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());

function heard(flow: Flow, pod: string): void {
  flow.first ??= pod;
  flow.last = pod === flow.first ? (flow.last ?? pod) : pod;
  flow.heardMs = performance.now();
}

function openConnection(): Flow {
  const socket = connect({ host: address, port: Number(tcpPort) });
  const ask = (): void => void socket.write('GET /hostname HTTP/1.1\r\nHost: test\r\n\r\n');
  const flow: Flow = { ask, isEnded: false, heardMs: 0 };
  socket.once('connect', ask).on('error', () => undefined); // it closes
  socket.setEncoding('utf8').on('data', (text: string) => heard(flow, text.split('\r\n\r\n')[1] ?? ''));
  socket.once('close', () => (flow.isEnded = true));
  return flow;
}

function openDatagrams(): Flow {
  const socket = createSocket('udp4');
  const flow: Flow = { ask: () => socket.send('hostname'), isEnded: false, heardMs: 0 };
  socket.on('message', (text) => heard(flow, text.toString().trim()));
  socket.on('error', () => undefined); // silence shows
  socket.connect(Number(udpPort), address, flow.ask);
  return flow;
}

const flows = [
  ...Array.from({ length: Number(tcpCount) }, openConnection),
  ...Array.from({ length: Number(udpCount) }, openDatagrams),
];
while (!flows.every(({ first }) => first !== undefined)) {
  await sleep(200);
  for (const { first, ask } of flows.slice(Number(tcpCount))) if (first === undefined) ask(); // a datagram may be lost
}
process.stdout.write('running\n');
const pace = askEveryMs / Math.max(1, flows.length);
for (let due = performance.now(), turn = 0; !stop.signal.aborted; due += pace, turn++) {
  await sleep(Math.max(0, due - performance.now()));
  const flow = flows[turn % flows.length];
  if (flow?.isEnded === false) flow.ask();
}
await sleep(500);
const isBroken = ({ isEnded, heardMs }: Flow): boolean => isEnded || performance.now() - heardMs > silentMs;
const result: FlowsResult = {
  flows: flows.length,
  moved: flows.filter(({ first, last }) => first !== last).length,
  broken: flows.filter(isBroken).length,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit();
