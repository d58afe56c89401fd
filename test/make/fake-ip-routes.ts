/** The rules and routes of a kernel in memory, of each family. */
export type FakeRoutes = {
  /** Performs a command and returns its output as JSON; throws the words of the kernel. */
  perform(family: 4 | 6, command: string): string;
  /** Removes all, like another program. */
  flush(): void;
};

type Rule = { readonly priority: number; readonly fwmark: string; readonly fwmask: string; readonly table: string };

export function makeFakeRoutes(): FakeRoutes {
  const kernel = {
    4: { rules: new Map<string, Rule>(), routes: new Map<string, object>() },
    6: { rules: new Map<string, Rule>(), routes: new Map<string, object>() },
  };

  const performRule = (rules: Map<string, Rule>, verb: string, words: string): string => {
    if (verb === 'list') {
      const [, priority] = words.split(' ');
      return `${JSON.stringify([...rules.values()].filter((rule) => String(rule.priority) === priority))}\n`;
    }
    if (verb === 'delete') {
      if (!rules.delete(words)) throw new Error('RTNETLINK answers: No such file or directory');
      return '';
    }
    if (rules.has(words)) throw new Error('RTNETLINK answers: File exists');
    const [, priority = '', mark = '', mask = '', table = ''] =
      /^priority (\d+) fwmark (\d+)\/(\d+) lookup (\d+)$/.exec(words) ?? [];
    const hex = (text: string): string => `0x${Number(text).toString(16)}`;
    rules.set(words, { priority: Number(priority), fwmark: hex(mark), fwmask: hex(mask), table });
    return '';
  };

  const performRoute = (family: 4 | 6, verb: string, words: string): string => {
    const { routes } = kernel[family];
    const table = words.slice(words.indexOf('table '));
    if (verb === 'list') return `${JSON.stringify(routes.has(table) ? [routes.get(table)] : [])}\n`;
    if (verb === 'delete') {
      if (!routes.delete(table))
        throw new Error(`RTNETLINK answers: No such ${family === 4 ? 'process' : 'file or directory'}`);
      return '';
    }
    const [type, dst, , dev] = words.split(' ');
    routes.set(table, { type, dst, dev, flags: [] });
    return '';
  };

  return {
    perform: (family, command) => {
      const [noun = '', verb = '', ...rest] = command.split(' ');
      const words = rest.join(' ');
      return noun === 'rule' ? performRule(kernel[family].rules, verb, words) : performRoute(family, verb, words);
    },
    flush: () => {
      for (const { rules, routes } of Object.values(kernel)) {
        rules.clear();
        routes.clear();
      }
    },
  };
}
