/*
 * Runs on a node: `node bulk-server.ts PORT up|down`. Towards the client (`down`) it writes as fast as the client reads;
 * the other way it reads. Prints `serving`.
 */
import { createServer } from 'node:net';

const [port = '', way = ''] = process.argv.slice(2);
const block = Buffer.alloc(256 * 1024, 'x');

createServer((socket) => {
  socket.on('error', () => undefined); // the client has disconnected
  if (way === 'up') return void socket.resume();
  const fill = (): void => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', fill);
  fill();
}).listen(Number(port), () => process.stdout.write('serving\n'));
