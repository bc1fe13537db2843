/* The list of jobs: filter, search, turn pages; the newest page is looked at again and again. */
"use strict";

(function () {
    const ROWS = 50;
    const CALM_MS = 2000;
    const given = new URLSearchParams(window.location.search);
    const filter = {state: given.get("state") || "", kind: given.get("kind") || "", prefix: given.get("prefix") || ""};
    const search = document.getElementById("jobs-search");
    const kinds = document.getElementById("jobs-kind");
    const states = document.querySelectorAll("[data-job-state]");
    const body = document.querySelector("#jobs-table tbody");
    const newer = document.getElementById("jobs-newer");
    const older = document.getElementById("jobs-older");
    let starts = [""];  // the cursor of each page up to this one
    let next = "";
    let asked = 0;
    let took = 0;  // how long the last look took: what is costly is looked at less often

    function address(cursor) {
        const query = new URLSearchParams({limit: ROWS, cursor: cursor, ...filter});
        return Batuta.address("/jobs/list") + "?" + query;
    }

    /* Where few of very many jobs fit a filter, the server looks at a part of them at a time. */
    async function page(mine) {
        let cursor = starts[starts.length - 1];
        const jobs = [];
        for (;;) {
            const answer = await Batuta.ask(address(cursor));
            jobs.push(...answer.jobs);
            cursor = answer.next;
            if (!cursor || jobs.length >= ROWS || mine !== asked) {
                return Object.assign(answer, {jobs: jobs});
            }
            show(jobs, answer.now_ms, "Searching…");
            Batuta.setLive(true, "Searching…");
        }
    }

    async function look() {
        const mine = asked, began = Date.now();
        const answer = await page(mine);
        if (mine !== asked) { return; }
        took = Date.now() - began;
        next = answer.next;
        show(answer.jobs, answer.now_ms);
        const counts = isWhole(answer) ? tally(answer.jobs) : answer.counts;
        const total = Batuta.count(counts.jobs) + (counts.jobs === 1 ? " job" : " jobs");
        document.getElementById("jobs-count").textContent =
            total + ", " + Batuta.count(counts.active) + " not ended";
        newer.classList.toggle("disabled", starts.length === 1);
        older.classList.toggle("disabled", !next);
        Batuta.setLive(true, starts.length === 1 ? "Live" : "Page " + starts.length);
    }

    // Redis counts Batuta's own jobs too, which are not listed: where all rows are here, these are counted.
    function isWhole(answer) {
        return starts.length === 1 && !answer.next && !(filter.state || filter.kind || filter.prefix);
    }

    function tally(jobs) {
        return {jobs: jobs.length, active: jobs.filter(job => !job.finished_ms).length};
    }

    function show(jobs, now, none) {
        const rows = jobs.map(job => row(job, now));
        if (!rows.length) {
            const line = Batuta.element("tr"), cell = Batuta.element("td", "empty-table-message", none || nothing());
            cell.colSpan = 6;
            line.appendChild(cell);
            rows.push(line);
        }
        const held = body.contains(document.activeElement) ? document.activeElement.textContent : null;
        body.replaceChildren(...rows);
        if (held) {  // who stands on a link with the keyboard stays there
            const link = Array.from(body.querySelectorAll("a")).find(found => found.textContent === held);
            if (link) { link.focus(); }
        }
    }

    function nothing() {
        return filter.state || filter.kind || filter.prefix ? "No jobs like that" : "No jobs yet";
    }

    function row(job, now) {
        const line = Batuta.element("tr");
        const ends = job.finished_ms || (job.started_ms ? now : null);
        line.dataset.job = job.id;
        line.appendChild(cell(name(job)));
        line.appendChild(cell(Batuta.badge(job.state)));
        line.appendChild(cell(progress(job)));
        line.appendChild(cell(document.createTextNode(job.kind)));
        line.appendChild(cell(Batuta.element("span", "text-nowrap", Batuta.age(now - job.created_ms)),
                              Batuta.moment(job.created_ms)));
        line.appendChild(cell(ends ? Batuta.element("span", "text-nowrap", Batuta.span(ends - (job.started_ms || job.created_ms)))
                                   : Batuta.element("span", "value-missing", "—")));
        return line;
    }

    function cell(content, title) {
        const made = Batuta.element("td");
        made.appendChild(content);
        if (title) { made.title = title; }
        return made;
    }

    function name(job) {
        const box = Batuta.element("div", "job-name");
        const link = Batuta.element("a", "", job.id);
        link.href = Batuta.address("/job/", job.id);
        box.appendChild(link);
        if (job.note) {
            const note = Batuta.element("div", "job-note", job.note);
            note.title = job.note;
            box.appendChild(note);
        }
        return box;
    }

    function progress(job) {
        const box = Batuta.element("div", "job-bar");
        box.appendChild(Batuta.bar(job));
        box.appendChild(Batuta.element("span", "job-steps", Batuta.count(job.done) + " / " + Batuta.count(job.total)));
        return box;
    }

    const again = Batuta.follow(look, () => Math.max(CALM_MS, 10 * took));

    function start() {
        asked += 1;
        again();
    }

    function filtered() {
        starts = [""];
        const query = new URLSearchParams(Object.entries(filter).filter(pair => pair[1])).toString();
        window.history.replaceState(null, "", window.location.pathname + (query ? "?" + query : ""));
        marked();
        start();
    }

    function marked() {
        states.forEach(function (button) {
            const isOn = button.dataset.jobState === filter.state;
            button.classList.toggle("active", isOn);
            button.setAttribute("aria-pressed", isOn);
        });
    }

    states.forEach(button => button.addEventListener("click", function () {
        filter.state = button.dataset.jobState;
        filtered();
    }));
    kinds.addEventListener("change", function () { filter.kind = kinds.value; filtered(); });
    search.addEventListener("input", function () { filter.prefix = search.value.trim(); filtered(); });
    newer.addEventListener("click", function () {
        if (starts.length > 1) { starts.pop(); start(); window.scrollTo(0, 0); }
    });
    older.addEventListener("click", function () {
        if (next) { starts.push(next); start(); window.scrollTo(0, 0); }
    });
    search.value = filter.prefix;
    if (filter.kind && !Array.from(kinds.options).some(option => option.value === filter.kind)) {
        kinds.appendChild(new Option(filter.kind, filter.kind));
    }
    kinds.value = filter.kind;
    marked();
}());
