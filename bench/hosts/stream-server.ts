/* Runs on a host: `node stream-server.ts PORT` counts, a line every 100 ms, for each client. */
import { createServer } from 'node:net';

const everyMs = 100;

const server = createServer((socket) => {
  let count = 0;
  const timer = setInterval(() => socket.write(`${count++}\n`), everyMs);
  socket.on('error', () => socket.destroy()).on('close', () => clearInterval(timer));
  socket.resume().on('end', () => socket.end());
});
server.listen({ port: Number(process.argv[2]), host: '::' });
