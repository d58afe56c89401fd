/*
 * Runs on the client: `node bulk-client.ts HOST PORT up|down SECONDS` reads (`down`) or writes for this time, and prints the
 * number of bytes.
 */
import { connect } from 'node:net';

const [host = '', port = '', way = '', seconds = ''] = process.argv.slice(2);
let received = 0;
const buffer = Buffer.alloc(1024 * 1024);
const block = Buffer.alloc(256 * 1024, 'x');
const socket = connect({
  host,
  port: Number(port),
  onread: {
    buffer,
    callback: (count) => {
      received += count;
      return true;
    },
  },
});
const fill = (): void => {
  while (socket.write(block));
};
if (way === 'up') socket.on('drain', fill);
socket.once('connect', () => {
  if (way === 'up') fill();
  setTimeout(
    () => {
      process.stdout.write(String(way === 'up' ? socket.bytesWritten - socket.writableLength : received));
      process.exit(0);
    },
    Number(seconds) * 1_000,
  );
});
