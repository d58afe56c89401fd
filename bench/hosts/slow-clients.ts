import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/*
 * Opens `COUNT` connections to `ADDRESS PORT`, sends a byte on each of them every 500 ms, for `MS`, and ends.
 */
const [address = '', port, count, ms] = process.argv.slice(2);
const held = new Set<Socket>();
for (let index = 0; index < Number(count); index++) {
  const socket = createConnection({ host: address, port: Number(port) });
  held.add(socket);
  socket.resume().on('error', () => socket.destroy());
  socket.once('close', () => held.delete(socket));
}
for (let leftMs = Number(ms); leftMs > 0; leftMs -= 500) {
  for (const socket of held) socket.write('.');
  await sleep(500);
}
process.exit(0);
