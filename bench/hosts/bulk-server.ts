/* Runs on a node: `node bulk-server.ts PORT` writes to whoever connects, as fast as it is read. Says `serving`. */
import { createServer } from 'node:net';

const block = Buffer.alloc(256 * 1024, 'x');

createServer((socket) => {
  const fill = (): void => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', fill).on('error', () => undefined); // the reader has gone
  fill();
}).listen(Number(process.argv[2]), () => process.stdout.write('serving\n'));
