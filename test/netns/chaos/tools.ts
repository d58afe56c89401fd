import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { type Fault, hostOf } from './fault.ts';
import type { Box } from './lab.ts';

/** Programs that furiwake runs. */
const tools = ['nft', 'ip', 'ss', 'conntrack', 'haproxy'] as const;
type Tool = (typeof tools)[number];

const folderOf = (box: Box): string => `${box.folder}/tools`;
const orderFor = (box: Box, tool: Tool): string => `${folderOf(box)}/${tool}.order`;

/** Puts programs in front of the real ones, which obey orders in a file; resolves with the PATH for furiwake. */
export async function installTools(box: Box): Promise<string> {
  await mkdir(folderOf(box), { recursive: true });
  for (const tool of tools) {
    const file = `${folderOf(box)}/${tool}`;
    await writeFile(file, script(tool, orderFor(box, tool)));
    await chmod(file, 0o755);
  }
  return `${folderOf(box)}:${process.env['PATH'] ?? ''}`;
}

const script = (tool: Tool, order: string): string => `#!/bin/sh
PATH="\${PATH#*:}:/usr/sbin:/sbin"
[ -e '${order}' ] && read -r what < '${order}'
case "$what" in
  refuse) cat > /dev/null; echo '${tool}: Operation not permitted' >&2; exit 1 ;;
  third) if [ $(( $$ % 3 )) = 0 ]; then echo '${tool}: Cannot allocate memory' >&2; exit 1; fi ;;
  slow) sleep 2 ;;
  hang) while [ -e '${order}' ]; do sleep 0.2; done ;;
esac
exec ${tool} "$@"
`;

/** The tools of a host fail, while what they have made stays. */
export const toolFaults: Readonly<Record<string, Fault>> = {
  'tool fails': {
    weight: 4,
    kind: 'soft',
    apply: async (world, random) => {
      const { box } = hostOf(world, random);
      const [tool, order] = [random.pick(tools), random.pick(['refuse', 'third', 'slow', 'hang'])];
      world.tell(`  ${tool}: ${order}`);
      await writeFile(orderFor(box, tool), `${order}\n`);
      return () => rm(orderFor(box, tool), { force: true });
    },
  },
};
