import { appendFile, chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { build, type Plugin } from 'esbuild';
import { licencesOf } from './licences.ts';

/*
 * One file that Node runs without node_modules: `dist/furiwake.js`. Its contents determine a third of furiwake's
 * memory: see docs/benchmarks.md.
 */

/** HTTP/1.1 to API servers; not fetch, WebSocket, EventSource, caches and mocks, which would cost memory. */
const undiciInPart = `
  Object.assign(require('undici/lib/dispatcher/dispatcher.js').prototype, require('undici/lib/api/index.js'));
  exports.Agent = require('undici/lib/dispatcher/agent.js');
  exports.buildConnector = require('undici/lib/core/connect.js');`;

/**
 * Modules of Node are loaded by `require` when the importing module starts. Before the first line runs, a static import
 * would look for all names, which an older Node may not have: then src/main/node/version.ts could not say so. It
 * would also read all exports, including WebSocket of `node:http`, for which Node loads its own undici.
 */
const loadLate: Plugin = {
  name: 'load-late',
  setup(building) {
    building.onResolve({ filter: /^(node:.*|undici)$/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'late' } : undefined,
    );
    building.onResolve({ filter: /\/milo\// }, ({ path }) => ({ path, namespace: 'absent' }));
    building.onLoad({ filter: /./, namespace: 'absent' }, () => ({ contents: `throw new Error('not in the bundle')` }));
    building.onLoad({ filter: /./, namespace: 'late' }, ({ path }) => ({
      contents: path === 'undici' ? undiciInPart : `module.exports = require('${path}');`,
      resolveDir: process.cwd(),
    }));
  },
};

/**
 * Flags that Node takes only at its start. For memory: the optimising compiler on its own threads keeps 15 MB in their
 * arenas; more flags are set later (src/main/node/heap.ts). For safety: SIGUSR1 would open a debugger to which any local
 * user can connect.
 */
const nodeFlags = '--no-concurrent-recompilation --max-semi-space-size=8 --disable-sigusr1';

await rm('dist', { recursive: true, force: true });
const { outputFiles, metafile } = await build({
  entryPoints: ['src/main/furiwake.ts'],
  outfile: 'dist/furiwake.js',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node22',
  minifySyntax: true,
  minifyWhitespace: true, // names stay, for stack traces
  legalComments: 'linked', // in a file beside it, to which the licences of all packages are added
  metafile: true,
  plugins: [loadLate],
  banner: {
    // Packages in the older module format ask for `require`.
    js: `#!/usr/bin/env -S node ${nodeFlags}\nimport { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);`,
  },
  write: false,
});
const linked = Object.values(metafile.outputs).flatMap(({ imports }) =>
  imports.filter(({ kind }) => kind === 'import-statement'),
);
if (linked.length > 0) throw new Error(`static imports are left: ${linked.map((each) => each.path).join(', ')}`);
await mkdir('dist');
for (const { path, text, contents } of outputFiles) {
  // V8 stores a source with a single character outside Latin-1 as two-byte text: 1.5 MB more. esbuild escapes all but
  // regular expressions.
  const stranger = path.endsWith('.js') ? /[\u0080-\uffff]/.exec(text) : null;
  if (stranger !== null)
    throw new Error(
      `${path}: not ASCII: ${JSON.stringify(text.slice(stranger.index - 40, stranger.index + 40))}: escape it`,
    );
  await writeFile(path, contents);
}
await appendFile('dist/furiwake.js.LEGAL.txt', await licencesOf(Object.keys(metafile.inputs)));
await chmod('dist/furiwake.js', 0o755);
const bytes = outputFiles.reduce((sum, { contents }) => sum + contents.length, 0);
process.stdout.write(`dist/furiwake.js: ${(bytes / 1024).toFixed(0)} KiB\n`);
