/* Runs on a node: `node bulk-server.ts PORT` writes to every client, as fast as it reads. Prints `serving`. */
import { createServer } from 'node:net';

const block = Buffer.alloc(256 * 1024, 'x');

createServer((socket) => {
  const fill = (): void => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', fill).on('error', () => undefined); // the reader has disconnected
  fill();
}).listen(Number(process.argv[2]), () => process.stdout.write('serving\n'));
