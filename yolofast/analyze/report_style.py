"""The style sheet of the HTML report, for light and dark mode, wide and narrow pages."""

STYLE = """
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--text:#1d2330;--dim:#5d6778;--line:#dde1e8;
--accent:#2f6fed;--error:#c62f36;--warning:#a86400;--info:#3565b5;--good:#1c7c4a;--s0:#2f6fed;--s1:#e08a1e;
--s2:#2e9e6b;--s3:#8a94a6}
@media(prefers-color-scheme:dark){:root{--page:#14171d;--card:#1e222b;--text:#e6e9ef;--dim:#9aa4b5;
--line:#333a47;--accent:#6b9bff;--error:#ff7a7f;--warning:#f0b35a;--info:#8db4ff;--good:#63cf98;--s0:#6b9bff;
--s1:#f0a648;--s2:#54c591;--s3:#8a94a6}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",
"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1160px;margin:0 auto;padding:24px 20px 40px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:19px;margin:32px 0 12px}
h3{font-size:15px;margin:0 0 10px}
p{margin:0 0 12px;color:var(--dim)}
code{font:13px/1.45 ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.path{margin:4px 0 0;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:12px;margin-top:20px}
.tile,.card,.group,figure{background:var(--card);border:1px solid var(--line);border-radius:10px}
.tile{padding:12px 14px;display:flex;flex-direction:column;min-width:0}
.tile b{font-size:24px;line-height:1.2;font-weight:650}
.tile span{color:var(--dim)}
.tile small{color:var(--dim);font-size:12px;overflow-wrap:anywhere}
.tile.error b,.error .badge{color:var(--error)}
.tile.warning b,.warning .badge{color:var(--warning)}
.tile.info b,.info .badge{color:var(--info)}
.good{color:var(--good)}
.group{margin:8px 0;border-left-width:4px;padding:0 14px}
.group.error,figure.error{border-left-color:var(--error)}
.group.warning,figure.warning{border-left-color:var(--warning)}
.group.info,figure.info{border-left-color:var(--info)}
summary{cursor:pointer;padding:10px 0;display:flex;flex-wrap:wrap;gap:2px 12px;align-items:baseline}
summary b{overflow-wrap:anywhere;min-width:0}
summary code{color:var(--dim);margin-left:auto}
.badge{font-size:12px;font-weight:650;text-transform:uppercase;letter-spacing:.04em;min-width:66px}
.count{background:var(--page);border:1px solid var(--line);border-radius:99px;padding:0 9px;font-size:13px}
.group p{margin-bottom:8px}
.locations{list-style:none;margin:0 0 12px;padding:0;border-top:1px solid var(--line)}
.locations li{padding:5px 0;border-bottom:1px solid var(--line);display:flex;flex-wrap:wrap;gap:0 14px}
.locations li:last-child{border-bottom:0}
.locations span{color:var(--dim);overflow-wrap:anywhere;min-width:0}
.images{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:14px}
figure{margin:0;overflow:hidden;border-left-width:4px;min-width:0}
figure img,.noimage{display:block;width:100%;height:190px;object-fit:contain;background:#10131a}
figure label{display:block;cursor:zoom-in}
figure input{position:absolute;opacity:0;pointer-events:none}
figure input:focus-visible+img{outline:3px solid var(--accent);outline-offset:-3px}
figure input:checked+img{position:fixed;inset:0;z-index:1;width:100vw;height:100vh;cursor:zoom-out}
.noimage{color:#cdd3de;padding:14px;display:flex;align-items:center;justify-content:center;text-align:center;
font-size:13px;overflow-wrap:anywhere;overflow:hidden}
figcaption{padding:9px 12px 11px;display:flex;flex-direction:column;gap:3px;font-size:13px}
figcaption span,figcaption small{color:var(--dim);overflow-wrap:anywhere}
figcaption i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(330px,100%),1fr));gap:14px}
.card{padding:14px 16px;min-width:0}
.card.wide{grid-column:1/-1}
svg{display:block;width:100%;height:auto;max-width:520px;margin:0 auto}
svg text{fill:var(--dim);font:12px system-ui,"DejaVu Sans",sans-serif}
.note{font-size:13px;margin:8px 0 0}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:5px 8px 5px 0;text-align:right;border-bottom:1px solid var(--line);
font-variant-numeric:tabular-nums}
th:first-child{text-align:left}
tr:first-child th{color:var(--dim);font-weight:500}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:3px 32px}
.rows{align-content:start;display:grid;grid-template-columns:fit-content(34%) 1fr auto;gap:3px 12px;
align-items:center;font-size:13px}
.rows>span{overflow-wrap:anywhere;min-width:0}
.rows>em{font-style:normal;color:var(--dim);text-align:right;font-variant-numeric:tabular-nums}
.bar{display:flex;height:14px;background:var(--page);border-radius:3px;overflow:hidden}
.bar i{display:block;height:100%}
.s0{background:var(--s0)}.s1{background:var(--s1)}.s2{background:var(--s2)}.s3{background:var(--s3)}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 10px;font-size:13px;color:var(--dim)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}
footer{margin-top:32px;color:var(--dim);font-size:13px}
@media(max-width:600px){main{padding:16px 12px 32px}h1{font-size:21px}.tiles{grid-template-columns:1fr 1fr}
summary code{margin-left:0}.images{grid-template-columns:1fr 1fr;gap:10px}
figure img,.noimage{height:140px}}
@media(max-width:360px){.images{grid-template-columns:1fr}}
"""
