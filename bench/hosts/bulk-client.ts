/* Runs on the client: `node bulk-client.ts HOST PORT SECONDS` reads for this time and prints the number of bytes. */
import { connect } from 'node:net';

const [host = '', port = '', seconds = ''] = process.argv.slice(2);
let bytes = 0;
const buffer = Buffer.alloc(1024 * 1024);
const socket = connect({
  host,
  port: Number(port),
  onread: {
    buffer,
    callback: (count) => {
      bytes += count;
      return true;
    },
  },
});
socket.once('connect', () => {
  setTimeout(
    () => {
      process.stdout.write(String(bytes));
      process.exit(0);
    },
    Number(seconds) * 1_000,
  );
});
